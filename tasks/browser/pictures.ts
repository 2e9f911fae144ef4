/**
 * Makes the README's pictures of the pages, trained in Chromium: `deno run -A tasks/browser/pictures.ts`. The decoder's wants
 * smollm2 (`deno task models smollm2`). Minutes each, on two cores.
 */

import { ChromiumPage } from "./chromium.ts";
import { demo, statusOf } from "./demo.ts";

/** A page, what its form is given, and its picture. */
const pictures = [
  {
    path: "/",
    fields: { train: 240, epochs: 1, batchSize: 8, maxTokens: 24 },
    file: "results/browser.png",
  },
  { path: "/decoder", fields: { newTokens: 12 }, file: "results/browser-decoder.png" },
];

for (const { path, fields, file } of pictures) {
  await using chromium = await ChromiumPage.open(await demo(), { path });
  const { page } = chromium;
  page.setDefaultTimeout(1_800_000);
  for (const [name, value] of Object.entries(fields)) await page.locator(`[name=${name}]`).fill(`${value}`);
  await page.getByRole("button", { name: "Train" }).click();
  console.log(`${path}: ${await statusOf(page)}`);
  await page.screenshot({ path: new URL(`../../${file}`, import.meta.url).pathname, fullPage: true });
}
