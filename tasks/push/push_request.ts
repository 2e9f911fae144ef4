/** Requests that write to the Hugging Face hub: with time for what they carry, and errors that say what to do. */

import { RefusedRequest, request } from "../../lib/network.ts";

/** Seconds to wait for an answer once all is sent. */
const patience = 60;

/** Bytes a second of the slowest line that is waited for. */
const slowest = 50_000;

/** `fetch` for pushing to the repository `repo` of the hub at `hubUrl`. */
export function pushRequest(repo: string, hubUrl: string): typeof fetch {
  return async (url, init = {}) => {
    try {
      return await request(url, init, patience + bytesOf(init.body) / slowest);
    } catch (error) {
      if (!(error instanceof RefusedRequest)) throw error;
      const advice = adviceOn(error.status, repo, hubUrl);
      throw new Error(advice ? `${error.answer}: ${advice}` : error.message, { cause: error });
    }
  };
}

function bytesOf(body: BodyInit | null | undefined): number {
  if (typeof body === "string") return body.length;
  return body instanceof Blob ? body.size : 0;
}

function adviceOn(status: number, repo: string, hubUrl: string): string | undefined {
  const tokens = `${hubUrl}/settings/tokens`;
  switch (status) {
    case 401:
      return `it does not take the token in HF_TOKEN: make a new one that may write at ${tokens}`;
    case 403:
      return `the token in HF_TOKEN may not write to ${repo}: check the name before the slash, or make a token that may at ${tokens}`;
    case 404:
      return `there is no ${repo} that the token in HF_TOKEN may write to: check the name before the slash`;
    case 412:
      return `somebody else has changed ${repo} meanwhile: push again`;
  }
}
