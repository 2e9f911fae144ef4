/** Preloaded into a command: the optimizer's kernel comes to the driver with a type error at its end. */

const { createShaderModule } = GPUDevice.prototype;

GPUDevice.prototype.createShaderModule = function (descriptor) {
  const broken = descriptor.label?.startsWith("adamw") ? "\nfn broken() -> u32 { return 1.5; }" : "";
  return createShaderModule.call(this, { ...descriptor, code: descriptor.code + broken });
};
