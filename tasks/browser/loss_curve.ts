/** Plots the losses of several methods over the steps, with uPlot, as they arrive. */

/// <reference lib="dom" />

import uPlot from "npm:uplot@1.6.32";
import css from "npm:uplot@1.6.32/dist/uPlot.min.css" with { type: "text" };

/** The bold line is the mean over this many steps. */
const smoothed = 8;

/** A thin line through every step's loss and a bold line through its running mean; one colour per method. */
export class LossCurve {
  readonly #plot: uPlot;
  readonly #losses: number[][];
  #steps = 1;

  readonly #place: HTMLElement;

  /** Fills the empty `section` with a heading, a key and the plot. */
  constructor(section: HTMLElement, labels: readonly string[], colours: readonly string[]) {
    section.innerHTML = `
      <div class="heading"><h2>Training loss</h2><span class="key" id="key"></span></div>
      <div id="curve"></div>`;
    const [key, place] = ["#key", "#curve"].map((id) => section.querySelector<HTMLElement>(id)!);
    this.#place = place;
    document.head.appendChild(document.createElement("style")).textContent = css;
    for (const [i, label] of labels.entries()) {
      const name = key.appendChild(document.createElement("b"));
      name.textContent = label;
      name.style.setProperty("--own", colours[i]);
    }
    key.append(`thin: each step; bold: mean of ${smoothed}`);
    this.#losses = labels.map(() => []);
    this.#plot = new uPlot(this.#options(labels, colours.map(resolved)), this.#data(), place);
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(place);
  }

  /** Clears the plot, for a new run of `steps` steps. */
  clear(steps: number): void {
    this.#steps = steps;
    this.#losses.forEach((losses) => losses.length = 0);
    this.#plot.setData(this.#data());
  }

  /** Adds a method's next step. */
  add(method: number, loss: number): void {
    this.#losses[method].push(loss);
    this.#plot.setData(this.#data());
  }

  #size(): { width: number; height: number } {
    return { width: this.#place.clientWidth, height: this.#place.clientHeight };
  }

  #options(labels: readonly string[], colours: readonly string[]): uPlot.Options {
    const axis = {
      grid: { stroke: "#e6e9ed", width: 1 },
      ticks: { stroke: "#e6e9ed", width: 1 },
      stroke: "#5b6470",
      font: "13px system-ui",
    };
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: () => [1, Math.max(2, this.#steps)] },
        y: { range: (_, __, most) => [0, Math.max(1, most ?? 0) * 1.05] },
      },
      axes: [
        {
          ...axis,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500],
          label: "step",
          labelFont: axis.font,
          labelSize: 20,
          size: 32,
        },
        { ...axis, size: 44 },
      ],
      series: [
        {},
        ...labels.map((label, i) => ({
          label,
          stroke: colours[i],
          width: 1,
          alpha: 0.5,
          points: { show: false },
        })),
        ...labels.map((label, i) => ({ label, stroke: colours[i], width: 3, points: { show: false } })),
      ],
    };
  }

  #data(): uPlot.AlignedData {
    const length = Math.max(...this.#losses.map((losses) => losses.length));
    const steps = Array.from({ length }, (_, i) => i + 1);
    const padded = (losses: readonly number[]) => steps.map((_, i) => losses[i] ?? null);
    return [steps, ...this.#losses.map(padded), ...this.#losses.map((losses) => padded(runningMean(losses)))];
  }
}

/** The mean of each loss and up to `smoothed` − 1 losses before it. */
function runningMean(losses: readonly number[]): number[] {
  return losses.map((_, i) => {
    const last = losses.slice(Math.max(0, i + 1 - smoothed), i + 1);
    return last.reduce((sum, loss) => sum + loss, 0) / last.length;
  });
}

/** The colour's value, where it may be a CSS variable: a canvas needs the value. */
function resolved(colour: string): string {
  const name = colour.match(/^var\((.*)\)$/)?.[1];
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : colour;
}
