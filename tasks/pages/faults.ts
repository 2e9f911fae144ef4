/** What users see when something goes wrong: the record of `tests/faults_test.ts`, and its page. */

import { markdownTable } from "npm:markdown-table@3.0.4";
import * as v from "npm:valibot@1.5.0";
import { originText } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";
import { environmentSchema } from "../../lib/report/schema.ts";

const seenSchema = v.object({
  name: v.string(),
  provoked: v.string(),
  /** The exit code. */
  code: v.pipe(v.number(), v.integer()),
  /** What is on the disk afterwards. */
  after: v.string(),
  /** Standard error's text; may be empty. */
  message: v.string(),
});

export const faultsSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  faults: v.array(seenSchema),
});

/** A fault and the message that the user saw. */
export type Seen = v.InferOutput<typeof seenSchema>;

function markdownOf({ faults, environment }: v.InferOutput<typeof faultsSchema>): string {
  const rows = faults.map(({ name, provoked, code, after }) => [name, provoked, String(code), after]);
  const messages = faults.filter(({ message }) => message !== "").map(({ name, message }) =>
    `**${name}**\n\n\`\`\`\n${message}\n\`\`\``
  );
  return `# Faults

What a user sees when something goes wrong, and what is on the disk afterwards: written by
\`deno test -A tests/faults_test.ts -- --update\`, which provokes every fault in the real commands. Most rows are of a
\`deno task reproduce glue --resume\` over a tiny BERT that has finished one row of its table and is training the other one;
"no folder" is what \`--out\` named. … is the folder of the test.

${originText(environment)}

${markdownTable([["fault", "provoked by", "exit code", "on the disk afterwards"], ...rows])}

## What the user sees

Nothing where a fault is not listed here.

${messages.join("\n\n")}
`;
}

export const faultsPage = definePage("faults", faultsSchema, (record) => ({ ".md": markdownOf(record) }));
