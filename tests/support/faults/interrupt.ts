/** Preloaded into a command: Ctrl-C after the fifth step of an epoch, and a line for every step. */

import { Trainer } from "../../../lib/train/trainer.ts";

const { epoch } = Trainer.prototype;
Trainer.prototype.epoch = function (onStep) {
  return epoch.call(this, (step) => {
    console.error(`step ${step}`);
    if (step === 5) Deno.kill(Deno.pid, "SIGINT");
    return onStep?.(step);
  });
};
