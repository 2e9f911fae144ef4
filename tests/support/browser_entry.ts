/** What a page of its own may import: the library, and its graphs. */

export * from "../../mod.ts";
export { compile, Graph, matmul } from "../../lib/front/graph.ts";
