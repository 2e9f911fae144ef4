/** What the pages have in common: the line of status, cards of figures, and work that keeps the buttons busy. */

/// <reference lib="dom" />

/** The element with this id. */
export function element<E extends HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** Shows a line of status, and how much of the work is done, from 0 to 1. */
export function say(text: string, done = 0): void {
  element("status").textContent = text;
  element<HTMLProgressElement>("progress").value = done;
}

/** Shows an error. */
export function fail(error: unknown): void {
  say((error as Error).message);
  element("status").className = "failed";
}

/** Does `work` with the form's buttons disabled, and shows an error that it throws. */
export async function busily(work: () => Promise<void>): Promise<void> {
  const buttons = [...element<HTMLFormElement>("form").querySelectorAll("button")];
  buttons.forEach((button) => button.disabled = true);
  element("status").className = "";
  try {
    await work();
  } catch (error) {
    fail(error);
  } finally {
    buttons.forEach((button) => button.disabled = false);
  }
}

/** A number with separators of thousands. */
export function counted(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** A card; `show` sets one of its figures by name. */
export class Card {
  readonly #figures = new Map<string, HTMLElement>();
  readonly #title: HTMLElement;

  constructor(title: string, colour: string, figures: readonly string[]) {
    const card = element("cards").appendChild(document.createElement("section"));
    card.className = "card";
    card.style.setProperty("--own", colour);
    this.#title = card.appendChild(document.createElement("h2"));
    this.#title.textContent = title;
    const list = card.appendChild(document.createElement("dl"));
    for (const name of figures) {
      const pair = list.appendChild(document.createElement("div"));
      pair.appendChild(document.createElement("dt")).textContent = name;
      this.#figures.set(name, pair.appendChild(document.createElement("dd")));
    }
    this.clear();
  }

  show(name: string, value: string): void {
    this.#figures.get(name)!.textContent = value;
  }

  clear(title = this.#title.textContent): void {
    this.#title.textContent = title;
    for (const name of this.#figures.keys()) this.show(name, "–");
  }
}
