/** Devices that differ from the one at hand in some way. */

/** `device` with other properties. */
export function changed(device: GPUDevice, properties: Readonly<Partial<GPUDevice>>): GPUDevice {
  return new Proxy(device, {
    get(own, key) {
      if (key in properties) return Reflect.get(properties, key);
      const value = Reflect.get(own, key, own);
      return typeof value === "function" ? value.bind(own) : value;
    },
  });
}

/** `device` as one that has no memory for some buffers. As on a GPU, what it returns for them is invalid. */
export function withoutMemoryFor(
  device: GPUDevice,
  isTooLarge: (descriptor: GPUBufferDescriptor) => boolean,
): GPUDevice {
  let isRefused = false;
  return changed(device, {
    createBuffer(descriptor) {
      isRefused = isTooLarge(descriptor);
      if (!isRefused) return device.createBuffer(descriptor);
      device.pushErrorScope("validation");
      const buffer = device.createBuffer({ ...descriptor, usage: 0 });
      device.popErrorScope();
      return buffer;
    },
    async popErrorScope() {
      const error = isRefused ? new GPUOutOfMemoryError("Not enough memory left.") : undefined;
      isRefused = false;
      return error ?? await device.popErrorScope();
    },
  });
}
