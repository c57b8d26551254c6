// Reads jobs ({page, executable, atOnce, jobs: [{player, url, seeks}]}) as JSON from standard input, plays them in one
// headless Chromium, a few at a time, and writes one report for each to standard output.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../package.json", import.meta.url));
const { chromium } = require("playwright-core");

const { page: pageUrl, jobs, executable, atOnce } = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({
    executablePath: executable,
    args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--autoplay-policy=no-user-gesture-required", "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    ],
});


async function play(job) {
    const context = await browser.newContext();
    const page = await context.newPage();
    const failed = [];
    const messages = [];
    page.on("response", (answer) => {
        if (answer.status() >= 400 && !answer.url().endsWith("/favicon.ico")) {
            failed.push(`${answer.status()} ${answer.url()}`);
        }
    });
    page.on("pageerror", (error) => failed.push(String(error)));
    page.on("console", (message) => messages.push(message.text()));
    try {
        await page.goto(pageUrl);
        const report = await page.evaluate((wanted) => window.run(wanted), job);
        return { ...job, ...report, failed };
    } catch (error) {
        return { ...job, failed: [...failed, String(error), ...messages.slice(-5)] };
    } finally {
        await context.close();
    }
}


const reports = new Array(jobs.length);
let next = 0;
async function worker() {
    while (next < jobs.length) {
        const index = next++;
        reports[index] = await play(jobs[index]);
    }
}
await Promise.all(Array.from({ length: atOnce }, worker));
await browser.close();
process.stdout.write(JSON.stringify(reports));
