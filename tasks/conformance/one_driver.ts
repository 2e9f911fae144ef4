/**
 * `one_driver.ts ID FILE`: runs one driver in this process, which has the driver's environment variables, and
 * writes the result to a file.
 */

import { writeWhole } from "../../lib/files.ts";
import { describeEnvironment } from "../../lib/report/environment.ts";
import { drivers } from "./drivers.ts";

const [id, path] = Deno.args;
const { adapter, runtime, run } = await drivers.find((driver) => driver.id === id)!.run();
const environment = { ...await describeEnvironment({ adapter }), runtime };
await writeWhole(path, JSON.stringify({ environment, run }));
// Dawn keeps the event loop open.
Deno.exit(0);
