/** Chromium with WebGPU on SwiftShader: bundles and serves a module, and calls its exports in a page. */

import { type Browser, chromium, type Page } from "npm:playwright-core@1.65.1";
import { existsSync } from "node:fs";
import process from "node:process";
import { serveSite, type Site, type SiteOptions } from "./site.ts";

const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Chromium's path, if it is installed; CHROMIUM names another. */
export const executablePath = process.env.CHROMIUM ?? places.find((path) => existsSync(path));

/** The software driver is requested by name, so that a machine with a GPU gives the same numbers. */
const args = [
  "--headless=new",
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-webgpu-adapter=swiftshader",
];

/**
 * A page on its own site. `await using` closes everything.
 *
 * @example
 * ```ts ignore
 * await using chromium = await ChromiumPage.open({ entry: new URL("sums.ts", import.meta.url) });
 * assert.equal(await chromium.call("sum", 1, 2), 3); // sums.ts: export function sum(a: number, b: number)
 * assert.deepEqual(chromium.complaints, []);
 * ```
 */
export class ChromiumPage implements AsyncDisposable {
  /** Errors and warnings on the console, and uncaught exceptions. */
  readonly complaints: string[] = [];

  private constructor(
    private readonly site: Site,
    private readonly browser: Browser,
    /** Playwright's page, at the site's address. */
    readonly page: Page,
  ) {
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(error.stack ?? error.message));
  }

  /**
   * Serves the site and opens its page at `path` in a window of 1280 × 800; `init` runs there before all other scripts. Throws what
   * bundling throws.
   */
  static async open(
    options: SiteOptions,
    { path = "/", init = () => {} }: { readonly path?: string; readonly init?: () => void } = {},
  ): Promise<ChromiumPage> {
    await using opened = new AsyncDisposableStack();
    const site = opened.use(await serveSite(options));
    const browser = await chromium.launch({ executablePath, args });
    opened.defer(() => browser.close());
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const own = new ChromiumPage(site, browser, page);
    await page.addInitScript(init);
    await page.goto(new URL(path, site.url).href);
    opened.move();
    return own;
  }

  /**
   * Calls the entry module's export `name` in the page and awaits the result. Arguments and result must be
   * JSON values.
   */
  async call<Result>(name: string, ...given: readonly unknown[]): Promise<Result> {
    return await this.page.evaluate(
      async ([name, given]) => (await import(`${location.origin}/main.js`))[name](...given),
      [name, given] as const,
    );
  }

  /** Closes the browser and stops serving. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
    await this.site[Symbol.asyncDispose]();
  }
}
