/** This library: a graph compiled once and replayed. */

export {
  type RunOptions as OurOptions,
  type RunTrace as OurTrace,
  tracedRun as ourRunner,
} from "../../lib/graph/traced_run.ts";
