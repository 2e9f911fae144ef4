/** Preloaded into a command: the first submit after the file $FAULT_FILE is there destroys the device. */

import { existsSync } from "node:fs";

const { requestDevice } = GPUAdapter.prototype;
const { submit } = GPUQueue.prototype;
let opened: GPUDevice | undefined;

GPUAdapter.prototype.requestDevice = async function (...args) {
  return opened = await requestDevice.apply(this, args);
};
GPUQueue.prototype.submit = function (...args) {
  submit.apply(this, args);
  if (!existsSync(Deno.env.get("FAULT_FILE")!)) return;
  opened?.destroy();
  opened = undefined;
};
