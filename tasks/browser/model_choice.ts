/** The list of models on the decoder's page: those that the server has, and those that the user picks. */

/// <reference lib="dom" />

import { fetchBytes, fetchText } from "../../lib/npm_files.ts";
import type { ModelFiles } from "./pupil.ts";

/** A model that the server has: its id, and its files' paths there. */
export interface ServedModel {
  readonly id: string;
  readonly files: readonly string[];
}

/** Reads the files of a model; another function for files that are picked anew. */
export type Reading = () => Promise<ModelFiles>;

/** Fills the list, and reads what is chosen. */
export class ModelChoice {
  readonly #readings = new Map<string, Reading>();

  constructor(private readonly list: HTMLSelectElement, picker: HTMLInputElement) {
    picker.addEventListener("change", () => this.#pick([...picker.files ?? []]));
  }

  /** Lists what the server has. Throws what fetching the server's list throws. */
  async offerServed(): Promise<void> {
    const served: ServedModel[] = JSON.parse(await fetchText(new URL("/models.json", location.href)));
    for (const { id, files } of served) this.#offer(id, () => fetched(files));
  }

  #pick(files: readonly File[]): void {
    if (files.length === 0) return;
    const name = files.find(({ name }) => /\.(gguf|safetensors)$/.test(name))?.name ?? files[0].name;
    this.#offer(name, () => picked(files));
    this.list.value = name;
  }

  #offer(name: string, reading: Reading): void {
    if (!this.#readings.has(name)) this.list.add(new Option(name));
    this.#readings.set(name, reading);
  }

  /** The chosen model's name, and what reads its files. Throws an Error where none is chosen. */
  get chosen(): { readonly name: string; readonly read: Reading } {
    const name = this.list.value;
    const read = this.#readings.get(name);
    if (!read) throw new Error("choose a model, or the files of one");
    return { name, read };
  }
}

async function fetched(paths: readonly string[]): Promise<ModelFiles> {
  const entries = paths.map(async (path) => {
    const name = decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
    return [name, new Uint8Array(await fetchBytes(new URL(path, location.href)))];
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function picked(files: readonly File[]): Promise<ModelFiles> {
  const entries = files.map(async (file) => [file.name, new Uint8Array(await file.arrayBuffer())]);
  return Object.fromEntries(await Promise.all(entries));
}
