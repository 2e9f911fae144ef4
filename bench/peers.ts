/**
 * The libraries that this one is raced against. To add one: its runner in `libraries/`, an entry here, and
 * its ways in the works. Those on the CPU are what a user without a GPU would choose, and CUDA is what one with
 * NVIDIA's would; neither counts as a WebGPU peer.
 */

/** Where a peer computes, and its description on the page. */
export interface Peer {
  readonly place: "WebGPU" | "CPU" | "CUDA";
  readonly about: string;
}

export const peers = {
  "tfjs-webgpu": { place: "WebGPU", about: "4.22.0, eager" },
  "jax-js": { place: "WebGPU", about: "0.1.25, jitted" },
  "doppler-gpu": {
    place: "WebGPU",
    about: "0.5.1, its kernels called one by one, as its own trainer calls them",
  },
  "tfjs-wasm": { place: "CPU", about: "4.22.0, eager, SIMD, one thread (tfjs has more in browsers only)" },
  "onnxruntime-node": { place: "CPU", about: "1.30.0, a thread a core, forward only" },
  "PyTorch": { place: "CPU", about: "eager, a thread a core" },
  "PyTorch CUDA": { place: "CUDA", about: "eager, f32 without TF32" },
} as const satisfies Record<string, Peer>;

/** A library that is raced. */
export type PeerName = keyof typeof peers;

/** The reason given for peers that have no gradients. */
export const forwardOnly = "forward only";

/** All of them. */
export const peerNames = Object.keys(peers) as readonly PeerName[];

/** Where a library computes; this one is on WebGPU. */
export function placeOf(library: string): Peer["place"] {
  return library in peers ? peers[library as PeerName].place : "WebGPU";
}

/** True for a peer on the same WebGPU adapter. */
export function onWebGpu(library: string): boolean {
  return library in peers && placeOf(library) === "WebGPU";
}

/** The peer's name as a column header, marked if it runs on the CPU. */
export function headOf(peer: string): string {
  return placeOf(peer) === "CPU" ? `${peer}, on the CPU` : peer;
}
