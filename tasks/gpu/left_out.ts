/**
 * Stands for the npm packages that a pack leaves out, under the names that modules ask them for as they are loaded. No part
 * of `deno task gpu` uses them: they are the bench's peers on WebGPU, and what drives a browser.
 */

export const numpy = {};
export const chromium = undefined;
export default { onnx: {} };
