/** What the benchmarks ask of a library: products of matrices on the adapter, and their results. */

/** One matrix product: op(A) is m×k, op(B) is k×n. */
export interface Product {
  /** NN: A B; NT: A Bᵀ (B stored n×k, a linear layer's forward pass); TN: Aᵀ B (A stored k×m, a weight's gradient). */
  readonly layout: "NN" | "NT" | "TN";
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Float32Array<ArrayBuffer>;
  readonly b: Float32Array<ArrayBuffer>;
}

/** A product with its operands on the GPU. */
export interface Prepared {
  /** Computes the product `repeats` times and reads the last result, m×n, back. */
  run(repeats: number): Promise<Float32Array>;
  /** Frees the operands. */
  dispose(): void;
}

/** A library under test. */
export interface Peer {
  readonly name: string;
  prepare(product: Product): Promise<Prepared>;
}
