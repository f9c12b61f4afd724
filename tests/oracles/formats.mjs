// Reads rendered requests with other people's parsers: Node's `cloudevents` and `jose`, found from the working folder.
//
// Reads JSON lines `{"format", "type", "headers", "body_base64", "expect", "jwks"?}`. `format` is a name such as
// `CLOUDEVENTS_BINARY`; `expect` holds what must be read, by attribute, claim or member; `jwks` are the keys of a `SET`. Prints a
// JSON line for each with what was read or what is wrong, and ends with 1 when anything is.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const require = createRequire(join(process.cwd(), "package.json"));
const { HTTP } = require("cloudevents");
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve("jose")));

const READERS = {
  STANDARD: readStandard,
  CLOUDEVENTS_STRUCTURED: readCloudEvent,
  CLOUDEVENTS_BINARY: readCloudEvent,
  SET: readToken,
  LUMOS_SIEM: readSiem,
};

function readStandard({ headers, body }) {
  contentType(headers, "application/json");
  const envelope = JSON.parse(body);
  check(Object.keys(envelope).length === 9, `members are ${Object.keys(envelope)}`);
  return envelope;
}

function readCloudEvent({ format, headers, body }) {
  const binary = format === "CLOUDEVENTS_BINARY";
  contentType(headers, binary ? "application/json" : "application/cloudevents+json");
  const event = HTTP.toEvent({ headers, body });
  event.validate();
  const { data, data_base64: encoded, ...attributes } = event.toJSON();
  check(encoded === undefined, "data is base64");
  // The library leaves the values of headers as they are.
  const decode = (value) => (binary && typeof value === "string" ? decodeURIComponent(value) : value);
  return { ...Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, decode(value)])), data };
}

async function readToken({ headers, body, expect, jwks }) {
  contentType(headers, "application/secevent+jwt");
  check(headers.accept === "application/json", "accept is not application/json");
  const keys = createLocalJWKSet(jwks);
  const options = {
    algorithms: ["RS256"],
    typ: "secevent+jwt",
    issuer: expect.iss,
    audience: expect.aud,
    requiredClaims: ["jti", "iat", "toe", "txn", "sub_id", "events"],
    clockTolerance: 300,
  };
  const { payload: claims, protectedHeader } = await jwtVerify(body, keys, options);
  check(typeof protectedHeader.kid === "string", "there is no kid");
  check(!("sub" in claims) && !("exp" in claims), "sub or exp is there");
  check(Object.keys(claims.events).length === 1, "not one event");
  check(Object.values(claims.events).every(isObject), "the event is no object");
  check(typeof claims.sub_id.format === "string", "sub_id has no format");
  check(Number.isInteger(claims.iat) && Number.isInteger(claims.toe), "a time is no integer");
  check(await isRefused(() => jwtVerify(withoutEvents(body), keys, options)), "a changed token is taken");
  check(await isRefused(() => jwtVerify(body, keys, { ...options, audience: "somebody else" })), "any audience is taken");
  return claims;
}

/** The token without its event, under the same signature. */
function withoutEvents(compact) {
  const [header, payload, signature] = compact.split(".");
  const claims = { ...JSON.parse(Buffer.from(payload, "base64url")), events: {} };
  return [header, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
}

async function isRefused(verify) {
  try {
    await verify();
    return false;
  } catch {
    return true;
  }
}

function readSiem({ headers, body }) {
  contentType(headers, "application/json");
  const { event, ...others } = JSON.parse(body);
  check(Object.keys(others).length === 0 && Object.keys(event).length === 8, "not one event of eight members");
  check(Object.keys(event.event_metadata).length === 10, "not ten metadata keys");
  return event;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

function contentType(headers, expected) {
  check(headers["content-type"] === expected, `content-type is ${headers["content-type"]}`);
}

/** What the request says, once it is what was expected. */
async function read(request) {
  const body = Buffer.from(request.body_base64, "base64").toString("utf8");
  const found = await READERS[request.format]({ ...request, body });
  for (const [name, value] of Object.entries(request.expect)) {
    check(isDeepStrictEqual(found[name], value), `${name} is ${JSON.stringify(found[name])}, not ${JSON.stringify(value)}`);
  }
  return found;
}

let total = 0;
let wrong = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const result = { format: request.format, type: request.type };
  try {
    result.read = await read(request);
  } catch (error) {
    result.error = `${error.name}: ${error.message}`;
    wrong += 1;
  }
  total += 1;
  console.log(JSON.stringify(result));
}
process.exitCode = wrong > 0 || total === 0 ? 1 : 0;
