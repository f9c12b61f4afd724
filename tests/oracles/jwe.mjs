// Decrypts JWEs with Node's `jose`, found from the working folder, and makes the key pairs for that.
//
// `jwe.mjs generate [KIND...]` prints one JSON line `{"library", "kind", "private_jwk", "public_jwk"}` for each kind of key.
// Without an argument it reads JSON lines `{"jwe", "private_jwk", "expect_base64"}`, decrypts each, prints one line per message,
// and ends with 1 when one is not what was expected or is taken although it was changed.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const found = createRequire(join(process.cwd(), "package.json")).resolve("jose");
const { compactDecrypt, errors, exportJWK, generateKeyPair, importJWK } = await import(pathToFileURL(found));

const KINDS = {
  "P-256": ["ECDH-ES+A256KW", { crv: "P-256" }],
  X25519: ["ECDH-ES+A256KW", { crv: "X25519" }],
  "RSA-2048": ["RSA-OAEP-256", { modulusLength: 2048 }],
  "RSA-4096": ["RSA-OAEP-256", { modulusLength: 4096 }],
};
const ALLOWED = {
  keyManagementAlgorithms: ["ECDH-ES", "ECDH-ES+A256KW", "RSA-OAEP-256"],
  contentEncryptionAlgorithms: ["A256GCM"],
};

async function generate(wanted) {
  for (const kind of wanted.length > 0 ? wanted : Object.keys(KINDS)) {
    const [alg, options] = KINDS[kind];
    const pair = await generateKeyPair(alg, { ...options, extractable: true });
    const [private_jwk, public_jwk] = [await exportJWK(pair.privateKey), await exportJWK(pair.publicKey)];
    console.log(JSON.stringify({ library: "jose", kind, private_jwk, public_jwk }));
  }
}

/** The plaintext; `null` when the message is refused. */
async function decrypt(message, privateJwk) {
  const header = JSON.parse(Buffer.from(message.split(".")[0], "base64url"));
  try {
    const key = await importJWK({ ...privateJwk, use: undefined, key_ops: undefined, alg: undefined }, header.alg);
    return Buffer.from((await compactDecrypt(message, key, ALLOWED)).plaintext);
  } catch (error) {
    if (error instanceof errors.JOSEError) return null;
    throw error;
  }
}

/** The message with one bit of one of its last three parts turned. */
function changed(message, number) {
  const parts = message.split(".");
  let at = 2 + (number % 3);
  if (parts[at] === "") at = 4;
  const content = Buffer.from(parts[at], "base64url");
  content[number % content.length] ^= 1;
  parts[at] = content.toString("base64url");
  return parts.join(".");
}

async function check() {
  let messages = 0;
  let failures = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const expected = Buffer.from(request.expect_base64, "base64");
    const plaintext = await decrypt(request.jwe, request.private_jwk);
    const tampered = await decrypt(changed(request.jwe, messages), request.private_jwk);
    let outcome = "ok";
    if (plaintext === null) outcome = "not decrypted";
    else if (!plaintext.equals(expected)) outcome = "other bytes";
    else if (tampered !== null) outcome = "taken although changed";
    if (outcome !== "ok") failures += 1;
    console.log(JSON.stringify({ message: messages, bytes: expected.length, jose: outcome }));
    messages += 1;
  }
  if (failures > 0 || messages === 0) process.exitCode = 1;
}

await (process.argv[2] === "generate" ? generate(process.argv.slice(3)) : check());
