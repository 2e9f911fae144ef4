/** Preloaded into a command: adds a type error to the end of the optimizer's kernel. */

const { createShaderModule } = GPUDevice.prototype;

GPUDevice.prototype.createShaderModule = function (descriptor) {
  const broken = descriptor.label?.startsWith("adamw") ? "\nfn broken() -> u32 { return 1.5; }" : "";
  return createShaderModule.call(this, { ...descriptor, code: descriptor.code + broken });
};
