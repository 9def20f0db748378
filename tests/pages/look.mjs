// look.mjs CHROMIUM OUT PAGE...: open each page in a browser, narrow and wide, light and dark; print what is wrong with it.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [executablePath, out, ...files] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
let faults = 0;

async function look(file, width, colorScheme) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const found = [];
  page.on("console", (message) => found.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => found.push(`error: ${error}`));
  page.on("dialog", (dialog) => { found.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!request.url().startsWith("file:")) found.push(`request: ${request.url()}`); });
  await page.goto(pathToFileURL(file).href);
  const name = `${path.basename(file, ".html")}-${width}-${colorScheme}`;
  await page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
  // What is wider than its place can be scrolled to there, and the page as a whole is never too wide.
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) found.push(`${over} px too wide`);
  const cut = await page.evaluate(() => [...document.querySelectorAll("body *")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "hidden")
    .map((one) => `${one.tagName} ${one.className}`));
  found.push(...cut.map((one) => `cut: ${one}`));
  // The page's own policy lets no script in; the debugger is not asked.
  const debug = await page.context().newCDPSession(page);
  await debug.send("Runtime.evaluate", { expression: axe });
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  found.push(...violations.map((one) => `axe: ${one.id}, ${one.nodes.length} times, at first ${one.nodes[0].target}`));
  for (const one of found) console.log(`${name}: ${one}`);
  faults += found.length;
  await page.close();
}

for (const file of files)
  for (const width of [360, 1600])
    for (const scheme of ["light", "dark"]) await look(file, width, scheme);
await browser.close();
console.log(`${files.length} pages, ${4 * files.length} looks, ${faults} faults; pictures: ${out}`);
process.exit(faults ? 1 : 0);
