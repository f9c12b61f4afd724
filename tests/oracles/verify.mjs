// Verifies signed webhooks with Node's `standardwebhooks`, found from the working folder.
//
// Reads JSON lines `{"id", "timestamp", "signature", "secret", "body_base64"}`, prints how many were verified and how many were
// refused once one byte had changed, and ends with 1 when a signature is bad or a changed request is taken.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { Webhook, WebhookVerificationError } = createRequire(join(process.cwd(), "package.json"))("standardwebhooks");

function accepts(webhook, body, headers) {
  try {
    webhook.verify(body, headers, { jsonParse: false });
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

/** The body with one bit of one byte turned. */
function changed(body, at) {
  const copy = Buffer.from(body);
  copy[at] ^= 1;
  return copy;
}

let verified = 0;
let refused = 0;
let number = 0;
const failures = [];
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const webhook = new Webhook(request.secret);
  const body = Buffer.from(request.body_base64, "base64");
  const headers = {
    "webhook-id": request.id,
    "webhook-timestamp": request.timestamp,
    "webhook-signature": request.signature,
  };
  if (accepts(webhook, body, headers)) verified += 1;
  else failures.push(`${request.id}: the signature is refused`);
  const tampered = {
    body: [changed(body, number % body.length), headers],
    id: [body, { ...headers, "webhook-id": `${request.id}0` }],
    timestamp: [body, { ...headers, "webhook-timestamp": String(Number(request.timestamp) - 1) }],
  };
  const taken = Object.keys(tampered).filter((what) => accepts(webhook, ...tampered[what]));
  if (taken.length > 0) failures.push(`${request.id}: taken although changed: ${taken.join(", ")}`);
  else refused += 1;
  number += 1;
}
console.log(JSON.stringify({ verified, refused_when_changed: refused }));
for (const failure of failures.slice(0, 20)) console.error(failure);
process.exitCode = failures.length > 0 || verified === 0 ? 1 : 0;
