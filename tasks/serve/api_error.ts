/** What a client is told when it gets no text, in the shape that OpenAI's API has. */

/** The HTTP statuses that are given. */
export type ErrorStatus = 400 | 403 | 404 | 413 | 429 | 500 | 503;

/** An error whose message is for the client. */
export class ApiError extends Error {
  constructor(
    readonly status: ErrorStatus,
    message: string,
    /** A word for programs. */
    private readonly code: string | null = null,
    /** The field of the request that is at fault. */
    private readonly param: string | null = null,
  ) {
    super(message);
  }

  /** The JSON value that is sent. */
  get body() {
    const { message, code, param } = this;
    return { error: { message, type: typeOf(this.status), param, code } };
  }
}

function typeOf(status: ErrorStatus): string {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
