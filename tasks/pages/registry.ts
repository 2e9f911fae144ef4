/**
 * Every kind of page that `results/` may hold. To add one: a file that defines it (see `lib/report/page.ts`)
 * and a line here. Tables of `deno task reproduce` are included through `tasks/tables/registry.ts`.
 */

import { costsPage } from "../../bench/costs_page.ts";
import { hostPage } from "../../bench/host_page.ts";
import { noisePage } from "../../bench/noise_page.ts";
import { benchPage } from "../../bench/page.ts";
import { conformancePage } from "../../lib/report/conformance_page.ts";
import { kernelsPage } from "../../lib/report/kernels_page.ts";
import type { Page } from "../../lib/report/page.ts";
import { isStudy, tablePage } from "../report_table.ts";
import { soakPage } from "../soak_page.ts";
import { tables } from "../tables/registry.ts";
import { bareImagePage } from "./bare_image.ts";
import { choicesPages } from "./choices.ts";
import { dataPage } from "./data.ts";
import { decodersPage } from "./decoders.ts";
import { faultsPage } from "./faults.ts";
import { flopsPage } from "./flops.ts";
import { gpuPage } from "./gpu.ts";
import { robertaPage } from "./roberta_base.ts";

export const pages: readonly Page[] = [
  ...tables.map((table) => isStudy(table) ? table.page : tablePage(table)),
  flopsPage,
  dataPage,
  decodersPage,
  benchPage,
  costsPage,
  hostPage,
  noisePage,
  robertaPage,
  soakPage,
  conformancePage,
  kernelsPage,
  gpuPage,
  faultsPage,
  bareImagePage,
  ...choicesPages,
];
