/**
 * Preloaded into a command: the third buffer "loss ring", after those of the golden steps of the scene's two rows,
 * is refused as a GPU without memory refuses one.
 */

const { createBuffer, popErrorScope } = GPUDevice.prototype;
let refused = false;
let rings = 0;

GPUDevice.prototype.createBuffer = function (descriptor) {
  refused = descriptor.label === "loss ring" && ++rings === 3;
  return createBuffer.call(this, descriptor);
};
GPUDevice.prototype.popErrorScope = async function () {
  const error = refused ? new GPUOutOfMemoryError("Not enough memory left.") : undefined;
  refused = false;
  return error ?? await popErrorScope.call(this);
};
