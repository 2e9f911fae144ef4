/** Tests of pages in Chromium. */
/// <reference lib="dom" />

import { type ChromiumPage, executablePath } from "../../tasks/browser/chromium.ts";

/** A test that needs Chromium; ignored, and says why, where there is none. */
export function browserTest(name: string, body: () => Promise<void>): void {
  if (!executablePath) console.log(`ignored: "${name}" needs Chromium (Debian: apt-get install chromium)`);
  Deno.test({ name, ignore: !executablePath, fn: body });
}

/** How many pixels of the loss curve have exactly each of these colours. */
export function pixelsOf(
  page: ChromiumPage["page"],
  colours: readonly (readonly number[])[],
): Promise<number[]> {
  return page.locator("#curve canvas").evaluate((canvas: HTMLCanvasElement, colours) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const pixels = Array.from({ length: data.length / 4 }, (_, i) => data.subarray(4 * i, 4 * i + 3));
    return colours.map((colour) =>
      pixels.filter((pixel) => colour.every((value, i) => pixel[i] === value)).length
    );
  }, colours);
}

/** The width of what the page shows on a phone, whose own is 390. */
export async function widthOnPhone(page: ChromiumPage["page"]): Promise<number> {
  await page.setViewportSize({ width: 390, height: 844 });
  return await page.evaluate(() => document.documentElement.scrollWidth);
}
