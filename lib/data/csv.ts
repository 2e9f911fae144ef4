/** csv-parse, apart from who uses it: the module wants Node's Buffer, which browsers have not, and its build for them fails in Deno. */

// @ts-types="./csv_parse.d.ts"
export { parse } from "npm:csv-parse@7.0.3/sync";
