// Verify a key, check two comments and teach one of them, with a client that nobody here wrote; tell what came of it.

import { Author, Blog, CheckResult, Client, Comment } from "@cedx/akismet";

const [baseUrl, key, offer, question] = process.argv.slice(2);
const blog = new Blog({ charset: "UTF-8", languages: ["en"], url: "http://blog.example" });
const client = new Client(key, blog, { baseUrl });
const author = new Author({ ipAddress: "192.0.2.1", name: "Ann", userAgent: "a browser" });
const comment = (content) => new Comment({ author, content, type: "comment" });
const named = (result) => (result === CheckResult.ham ? "ham" : "spam");

const told = {
  verified: await client.verifyKey(),
  stranger: await new Client("another", blog, { baseUrl }).verifyKey(),
  offer: named(await client.checkComment(comment(offer))),
  question: named(await client.checkComment(comment(question))),
};
await client.submitHam(comment(offer));
await client.submitSpam(comment(question));
console.log(JSON.stringify({ ...told, taught: true }));
