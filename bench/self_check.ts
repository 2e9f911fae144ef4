/**
 * Checks the peers' adapters before the race: a peer that computed in another place or something else would
 * give meaningless times. To run it alone:
 *
 *     deno run --allow-all --lock=bench/deno.lock bench/self_check.ts
 */

import assert from "node:assert/strict";
import proto from "npm:onnx-proto@8.0.1";
import { OnnxGraph } from "./libraries/onnx.ts";
import { type TorchDevice, torchRunner, torchVersion } from "./libraries/pytorch.ts";
import { tf, tfjsRunner } from "./libraries/tfjs.ts";
import { type PeerName, peerNames } from "./peers.ts";

/** Checks that tfjs computes in the runner's own backend, whichever was used last. */
async function checkTfjs(): Promise<void> {
  const used: string[] = [];
  const inputs = { a: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } };
  const square = ({ a }: Record<string, tf.Tensor>) => {
    used.push(tf.getBackend());
    return [tf.matMul(a, a)];
  };
  const [wasm, webgpu] = [
    await tfjsRunner("wasm", inputs, square),
    await tfjsRunner("webgpu", inputs, square),
  ];
  for (const runner of [wasm, webgpu]) {
    assert.deepEqual(await runner.results(), [Float32Array.of(7, 10, 15, 22)]);
  }
  for (const runner of [wasm, webgpu]) await runner.lap(1);
  assert.deepEqual(used, ["wasm", "webgpu", "wasm", "webgpu"]);
  [wasm, webgpu].forEach((runner) => runner.dispose());
}

/** Checks that an ONNX model contains its operators, attributes and constants. */
function checkOnnx(): void {
  const graph = new OnnxGraph();
  const two = graph.constant("two", { shape: [1], data: Float32Array.of(2) });
  const y = graph.add("Gemm", ["x", two], { transB: { int: 1 }, alpha: { float: 0.5 } });
  const input = { x: { shape: [3, 1], data: new Float32Array(3) } };
  const rows = graph.integers("rows", [3, -1]);
  const outputs = [graph.add("Reshape", [y, rows], {}, "com.microsoft")];
  const decoded = proto.onnx.ModelProto.decode(graph.encode(input, outputs)).graph!;
  const [gemm, reshape] = decoded.node!;
  assert.deepEqual([gemm.opType, gemm.input, gemm.output], ["Gemm", ["x", "two"], [y]]);
  assert.deepEqual(
    gemm.attribute!.map(({ name, type, i, f }) => [name, type, Number(i), f]),
    [["transB", 2, 1, 0], ["alpha", 1, 0, 0.5]],
  );
  assert.deepEqual([reshape.domain, reshape.input], ["com.microsoft", [y, "rows"]]);
  const raw = decoded.initializer!.map(({ rawData }) => new Uint8Array(rawData!).buffer);
  assert.deepEqual([...new Float32Array(raw[0])], [2]);
  assert.deepEqual([...new BigInt64Array(raw[1])], [3n, -1n]);
  const dims = decoded.input![0].type!.tensorType!.shape!.dim!.map(({ dimValue }) => Number(dimValue));
  assert.deepEqual([dims, decoded.output![0].name], [[3, 1], outputs[0]]);
}

/** Checks that PyTorch answers one work after another, with its own times. */
async function checkTorch(device: TorchDevice): Promise<void> {
  const a = { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
  const b = { shape: [2, 3], data: Float32Array.of(1, 0, 0, 0, 1, 1) };
  const product = await torchRunner(device, "product", { a, b }, { transposeA: false, transposeB: true });
  assert.deepEqual(await product.results(), [Float32Array.of(1, 5, 4, 11)]);
  assert.ok(await product.lap(3) as number > 0);
  const sum = await torchRunner(device, "sum_of_arrays", { a, b }, {}, 2);
  const once = [2, 2, 3, 4, 6, 7];
  assert.deepEqual(await sum.results(), [Float32Array.from([...once, ...once])]);
}

const checks: readonly (readonly [of: readonly PeerName[], check: () => void | Promise<void>])[] = [
  [["onnxruntime-node"], checkOnnx],
  [["tfjs-webgpu", "tfjs-wasm"], checkTfjs],
  [["PyTorch"], () => checkTorch("cpu")],
  [["PyTorch CUDA"], () => checkTorch("cuda")],
];

/** Throws an AssertionError if the adapter of one of `peers`, which are all here, does not do what it should. */
export async function checkPeers(peers: readonly PeerName[]): Promise<void> {
  for (const [of, check] of checks) {
    if (of.some((peer) => peers.includes(peer))) await check();
  }
}

if (import.meta.main) {
  const absent: PeerName[] = [];
  if (!await torchVersion("cpu")) absent.push("PyTorch");
  if (!await torchVersion("cuda")) absent.push("PyTorch CUDA");
  await checkPeers(peerNames.filter((peer) => !absent.includes(peer)));
  console.log("The peers' adapters do what they should.");
  // The peers keep their devices and processes open, and with them the event loop.
  Deno.exit(0);
}
