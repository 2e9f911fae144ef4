/**
 * The time from a fresh clone to the first table: the record of `tests/support/bare_image.sh`, and its page.
 */

import * as v from "npm:valibot@1.5.0";
import { table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const bareImageSchema = v.object({
  schemaVersion: v.literal(1),
  /** Debian's code name. */
  release: v.string(),
  cpus: count,
  commit: v.string(),
  /** What else the machine was running. */
  beside: v.optional(v.string()),
  images: v.array(v.object({
    has: v.string(),
    setupSeconds: count,
    reproduceSeconds: count,
    /** 10⁶ bytes that came in all, and those of the npm packages alone; older records lack them, and the next. */
    megabytes: v.optional(count),
    packageMegabytes: v.optional(count),
    cacheMebibytes: v.optional(count),
    /** Of matrix products, as `deno task doctor` measures it in the image. */
    flopsPerSecond: v.optional(v.number()),
  })),
});

function markdownOf(
  { release, cpus, commit, beside, images }: v.InferOutput<typeof bareImageSchema>,
): string {
  const rows = images.map(({ has, setupSeconds, reproduceSeconds, ...sizes }) => {
    const all = setupSeconds + reproduceSeconds;
    return [
      has,
      String(setupSeconds),
      String(reproduceSeconds),
      `${Math.floor(all / 60)} min ${all % 60} s`,
      sizes.flopsPerSecond === undefined ? "–" : (sizes.flopsPerSecond / 1e9).toFixed(1),
      ...[sizes.megabytes, sizes.packageMegabytes, sizes.cacheMebibytes].map((size) => String(size ?? "–")),
    ];
  });
  const header = [
    "image has",
    "sh tasks/setup.sh, s",
    "deno task reproduce, s",
    "from clone to first table",
    "products, GFLOP/s",
    "downloaded, MB",
    "of it npm packages, MB",
    "Deno's cache, MiB",
  ];
  return `# In a bare image

\`bash tests/support/bare_image.sh\`: a clone of this repository and the README's first command, as root, in Debian's smallest image
(debootstrap's minbase of ${release}, in a chroot) with nothing added but what the row names. Set-up fetches the rest: Deno where it is
missing, a software Vulkan driver, the npm packages. MB are 10⁶ bytes that the machine's network interface received.

${table(header, rows)}

Machine: ${cpus} CPUs. Commit ${commit}.
${beside === undefined ? "" : `\n${beside}\n`}`;
}

export const bareImagePage = definePage("bare-image", bareImageSchema, (record) => ({
  ".md": markdownOf(record),
}));
