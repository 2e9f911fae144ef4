/**
 * The worker thread that renders chat templates for `chat_template.ts`, which terminates it if it exceeds its time or memory: a
 * template is a stranger's program.
 */

import { parentPort, workerData } from "node:worker_threads";
import type { RenderAnswer, Rendering, RenderRequest } from "./chat_template.ts";
import { jinjaTemplate, type RenderTemplate } from "./jinja_template.ts";

function render({ template, inputs, most }: RenderRequest): RenderAnswer {
  const compiled = jinjaTemplate(template);
  return { renderings: inputs.map((input) => rendering(compiled, input, most)) };
}

function rendering(
  template: RenderTemplate,
  input: RenderRequest["inputs"][number],
  most: number,
): Rendering {
  try {
    const text = template(input);
    if (text.length <= most) return { text };
    return { refusal: `its text has ${text.length} characters, and ${most} are the most` };
  } catch (error) {
    const refusal = (error as Error).message;
    return { refusal, turn: firstRefused(template, input, refusal) };
  }
}

/** How many messages it takes until the template refuses them with these words. */
function firstRefused(
  template: RenderTemplate,
  input: RenderRequest["inputs"][number],
  refusal: string,
): number {
  for (let count = 1; count < input.messages.length; count++) {
    try {
      template({ ...input, messages: input.messages.slice(0, count) });
    } catch (error) {
      if ((error as Error).message === refusal) return count;
    }
  }
  return input.messages.length;
}

try {
  parentPort!.postMessage(render(workerData as RenderRequest));
} catch (error) {
  parentPort!.postMessage({ failure: `it is no template: ${(error as Error).message}` });
}
