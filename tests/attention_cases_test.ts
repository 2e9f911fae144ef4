/**
 * Attention's op cases, as `ops_test.ts` has the others. Their kernels take the longest to compile, and files are tested several at
 * a time.
 */

import { opCases } from "../tasks/conformance/op_cases.ts";
import { checkOp, isAttention } from "./support/ops.ts";

for (const op of opCases.filter(isAttention)) Deno.test(op.name, () => checkOp(op));
