/** The prompt of an instruction: Stanford Alpaca's words as Alpaca-LoRA writes them (Taori et al. 2023; templates/alpaca.json). */

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

/**
 * The text before the answer, with which rows of `{instruction, input, output}` are learnt; without an input, or with a blank one,
 * the text that names none. Throws an Error for what is no text.
 */
export function instructionPrompt(
  { instruction, input = "" }: { readonly instruction: string; readonly input?: string },
): string {
  for (const [name, value] of Object.entries({ instruction, input })) {
    if (typeof value !== "string") throw new Error(`${name} is ${JSON.stringify(value)}: give a text`);
  }
  const prompt = input.trim() === "" ? alone : withInput.replace("{input}", () => input);
  return prompt.replace("{instruction}", () => instruction);
}
