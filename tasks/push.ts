/** `deno task push`: uploads an adapter's or a model's folder to the Hugging Face hub. `--help` says what is needed. */

import { parseArgs } from "node:util";
import { destinationOf } from "./push/destination.ts";
import { checkPushable, pushFolder } from "./push/push_folder.ts";
import { asUsage, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task push DIR USER/NAME

Uploads DIR, a folder that deno task finetune, export or merge wrote, to the Hugging Face hub, as one commit. The --push
USER/NAME of these commands does the same with what they write.

A repository that is not there yet is made, and is private until its settings on the hub say otherwise. In one that is there,
files of an earlier push are replaced, and a model card (README.md) that somebody has edited stays; one with a file of another
origin, or of another form of the model, is refused. Hidden files in DIR are not pushed.

The token is that of HF_TOKEN in the environment, and must be allowed to write. HF_ENDPOINT names another hub.

  DIR        the folder
  USER/NAME  the repository: the name of a user or an organisation, and its own
  --help     this text
`;

async function main(): Promise<void> {
  const { values, positionals } = asUsage(() =>
    parseArgs({ allowPositionals: true, options: { help: { type: "boolean", default: false } } })
  );
  if (values.help) return console.log(help);
  if (positionals.length !== 2) throw new UsageError("give a folder and USER/NAME; see --help");
  const [folder, id] = positionals;
  await checkPushable(folder);
  const destination = await destinationOf(id);
  await pushFolder(folder, destination, (line) => console.log(printable(line)));
}

await runCommand(main);
