/** The prompt of an instruction: Stanford Alpaca's words as Alpaca-LoRA writes them (Taori et al. 2023; templates/alpaca.json). */

import type { InstructionRow } from "../data/language_rows.ts";

const alone =
  `Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
{instruction}

### Response:
`;

const withInput =
  `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.

### Instruction:
{instruction}

### Input:
{input}

### Response:
`;

/** The text before the answer; without an input, the one that names none. */
export function instructionPrompt(
  { instruction, input }: Pick<InstructionRow, "instruction" | "input">,
): string {
  const prompt = input === undefined ? alone : withInput.replace("{input}", () => input);
  return prompt.replace("{instruction}", () => instruction);
}
