// Calls the identity service, and repeats a call that can succeed later.

const RESPONSE_LIMIT = 65_536; // bytes
const LONGEST_BACKOFF = 60; // seconds

/** Authenticates with a key of the identity service that opens the functions to be called. */
export const withKey = (key) => async () => ({ "x-functions-key": key });

/**
 * Authenticates without a key, if the service has SERVICE_AUTHENTICATION=entra.
 *
 * `credential` is one of @azure/identity, such as `new ManagedIdentityCredential()`, which caches its tokens. Its
 * identity needs the roles Identities.Manage and Tokens.Issue. `application` is the client id of the service's app
 * registration.
 */
export const withEntra = (credential, application) => async (abortSignal) => {
  const { token } = await credential.getToken(`api://${application}/.default`, { abortSignal });
  return { Authorization: `Bearer ${token}` };
};

/** The service refused a request, or did not respond: then `status` is 0. `retryAfter` is in seconds. */
export class ServiceError extends Error {
  constructor(text, { status = 0, code = "", retryAfter, cause } = {}) {
    super(text, { cause });
    Object.assign(this, { status, code, retryAfter });
  }

  /** Whether to send the request again, later. Every request can be repeated safely. */
  get temporary() {
    return this.retryAfter !== undefined || [0, 500, 502, 503, 504].includes(this.status);
  }

  /** Whether the identity is suspended, deleted or gone. Then its tokens are revoked. */
  get refusesUser() {
    return this.code !== "" && [404, 409].includes(this.status);
  }

  /** The seconds to wait after this number of failures. */
  pause(failures) {
    if (this.retryAfter !== undefined) return this.retryAfter;
    // Random, so that your servers do not all come back in the same moment.
    return Math.min(2 ** (failures - 1), LONGEST_BACKOFF) * (1 + Math.random() / 4);
  }
}

/** The identity service at this URL, without `/api`. `authenticate` is `withKey(…)` or `withEntra(…)`. */
export class Service {
  #url;
  #authenticate;
  #attempts;
  #seconds;
  #sleep;

  /** A request is sent at most `attempts` times, and takes at most `seconds` with all attempts. */
  constructor(url, authenticate, { attempts = 4, seconds = 20, now = Date.now, sleep = wait } = {}) {
    this.#url = url.replace(/\/+$/, "");
    this.#authenticate = authenticate;
    this.#attempts = attempts;
    this.#seconds = seconds;
    this.#sleep = sleep;
    this.now = now;
  }

  /** Sends a request, and returns the content of the response. Throws a ServiceError. */
  async send(method, path, body, attempts = this.#attempts) {
    const deadline = this.now() + this.#seconds * 1000;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#sendOnce(method, path, body, deadline - this.now());
      } catch (error) {
        const pause = error.pause(attempt);
        const tooLate = this.now() + pause * 1000 > deadline;
        if (!error.temporary || tooLate || attempt >= attempts) throw error;
        await this.#sleep(pause);
      }
    }
  }

  async #sendOnce(method, path, body, milliseconds) {
    try {
      const signal = AbortSignal.timeout(milliseconds);
      const response = await fetch(`${this.#url}/api/${path}`, {
        method,
        headers: await this.#authenticate(signal),
        body: body && JSON.stringify(body),
        redirect: "manual", // A redirect would send the key to another server.
        signal,
      });
      return decode(response, await read(response));
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      // An error of the network or of the credential, or a response that is not JSON.
      throw new ServiceError(`No valid response: ${error.name}`, { cause: error });
    }
  }
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function read(response) {
  const chunks = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > RESPONSE_LIMIT) throw new ServiceError("The response is too long");
  }
  return Buffer.concat(chunks).toString();
}

function decode(response, content) {
  if (response.ok) return content ? JSON.parse(content) : undefined;
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const { code, detail = "" } = isProblem ? JSON.parse(content) : {};
  const wait = response.headers.get("Retry-After") ?? "";
  throw new ServiceError(`${response.status} ${detail}`.trim(), {
    status: response.status,
    code,
    retryAfter: /^[0-9]{1,5}$/.test(wait) ? Number(wait) : undefined,
  });
}
