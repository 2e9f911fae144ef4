/** The decoder's page of `deno task browser` in Chromium, filled in and clicked. */
/// <reference lib="dom" />

import { ChromiumPage } from "../../tasks/browser/chromium.ts";
import { demo, statusOf } from "../../tasks/browser/demo.ts";

/** What the form is given: few steps on few texts, for SwiftShader. */
export const settings = {
  examples: ["a", "b", "c"].map((prompt, i) => JSON.stringify({ prompt, completion: "xyz"[i] })).join("\n"),
  epochs: 8,
  batchSize: 3,
  learningRate: 0.05,
  maxTokens: 16,
};

/** The steps that these are. */
export const steps = 8;

/** What the page goes on from, and how far. */
export const [prompt, newTokens] = ["b", 6];

/** Opens the page; it offers the model in `folder`, if one is given, as "tiny". */
export async function openDecoderPage(folder?: string): Promise<ChromiumPage> {
  const paths = folder === undefined
    ? []
    : [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`);
  return await ChromiumPage.open(await demo(folder === undefined ? [] : [{ id: "tiny", paths }]), {
    path: "/decoder",
  });
}

/** Fills in what the settings say. */
export async function fill(page: ChromiumPage["page"]): Promise<void> {
  for (const [name, value] of Object.entries({ ...settings, prompt, newTokens })) {
    await page.locator(`[name=${name}]`).fill(`${value}`);
  }
}

/** Trains, and gives the page's last line of status. */
export async function train(page: ChromiumPage["page"]): Promise<string> {
  page.setDefaultTimeout(300_000);
  await page.getByRole("button", { name: "Train" }).click();
  return await statusOf(page);
}

/** Clicks the links of the page's adapter, keeps what comes in `folder`, and gives the files' names. */
export async function download(page: ChromiumPage["page"], folder: string): Promise<string[]> {
  await Deno.mkdir(folder);
  const links = await page.locator("#downloads a").all();
  for (const link of links) {
    const [file] = await Promise.all([page.waitForEvent("download"), link.click()]);
    await file.saveAs(`${folder}/${file.suggestedFilename()}`);
  }
  return [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();
}

/** Trains LoRA on the model in `folder` and downloads it to `adapter`. Gives what the page writes with it. */
export async function trainLora(folder: string, adapter: string): Promise<string> {
  await using chromium = await openDecoderPage(folder);
  const { page } = chromium;
  await page.locator("[name=method]").selectOption("LoRA");
  await fill(page);
  const status = await train(page);
  if (!status.startsWith("Done")) throw new Error(status);
  await download(page, adapter);
  return (await page.locator("#after").textContent())!;
}
