/** This library: a graph compiled once and replayed. */

export {
  type RunOptions as OurOptions,
  type RunTrace as OurTrace,
  tracedRun as ourRunner,
} from "../../lib/run/traced_run.ts";
