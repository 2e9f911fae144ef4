/** Preloaded into a command: the buffer "loss ring" is refused as a GPU without memory refuses one. */

const { createBuffer, popErrorScope } = GPUDevice.prototype;
let refused = false;

GPUDevice.prototype.createBuffer = function (descriptor) {
  refused = descriptor.label === "loss ring";
  return createBuffer.call(this, descriptor);
};
GPUDevice.prototype.popErrorScope = async function () {
  const error = refused ? new GPUOutOfMemoryError("Not enough memory left.") : undefined;
  refused = false;
  return error ?? await popErrorScope.call(this);
};
