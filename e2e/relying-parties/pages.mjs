// Opens every rendered page in Chromium and checks what people need from it.
//
//   node pages.mjs HTML_DIR OUT_DIR
//
// HTML_DIR is what `cargo run -p auth-server --example pages -- HTML_DIR` writes. Screenshots go to OUT_DIR. CHROMIUM
// names the browser (default /usr/bin/chromium). Prints a line per failure and "N passed, N failed"; exits with 1 when
// something failed or nothing ran.

import { createServer } from "node:http";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve, sep } from "node:path";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const [htmlDir, outDir] = process.argv.slice(2).map((path) => resolve(path));
if (!htmlDir || !outDir) {
  console.error("usage: node pages.mjs HTML_DIR OUT_DIR");
  process.exit(2);
}

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const VIEWS = {
  phone: { width: 390, height: 844 },
  small: { width: 320, height: 640 },
  desktop: { width: 1280, height: 860 },
  // 200 % zoom of a 1280 px window: the same layout in half the CSS pixels.
  zoom: { width: 640, height: 430, scale: 2 },
};
const TYPES = { html: "text/html; charset=utf-8", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };

const cases = JSON.parse(await readFile(join(htmlDir, "index.json"), "utf8"));
const axeSource = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");
const policies = new Map(cases.map(({ file, csp }) => [file, csp]));
await mkdir(outDir, { recursive: true });

const only = process.env.ONLY; // part of a file name, to look at a few cases while changing them
if (only) cases.splice(0, cases.length, ...cases.filter(({ file }) => file.includes(only)));

let passed = 0;
let failed = 0;
const check = (ok, what, found = "") => {
  if (ok) passed += 1;
  else {
    failed += 1;
    console.log(`FAILED ${what}${found === "" ? "" : `: ${found}`}`);
  }
};

const server = createServer(async (request, response) => {
  const path = resolve(htmlDir, `.${new URL(request.url, "http://x").pathname}`);
  try {
    if (!path.startsWith(htmlDir + sep)) throw new Error("outside");
    const body = await readFile(path);
    const csp = policies.get(path.slice(htmlDir.length + 1));
    if (csp) response.setHeader("Content-Security-Policy", csp);
    response.setHeader("X-Content-Type-Options", "nosniff");
    response.setHeader("Content-Type", TYPES[path.split(".").pop()] ?? "application/octet-stream");
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

try {
  await Promise.all(["light", "dark"].map(inScheme));
  await withoutScripts();
  await showPassword();
  await formPost();
} finally {
  await browser.close();
  server.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

// All pages in all views. Hostile text is about markup, not about layout: one view shows it.
async function inScheme(scheme) {
  for (const [view, { width, height, scale }] of Object.entries(VIEWS)) {
    const context = await browser.newContext({
      viewport: { width, height },
      deviceScaleFactor: scale ?? 1,
      colorScheme: scheme,
      reducedMotion: "reduce",
    });
    await isolate(context);
    const page = await context.newPage();
    for (const item of cases) {
      // form_post submits itself as soon as it is parsed; it is looked at without scripts.
      if (item.name.startsWith("form-post") || (item.name.endsWith("-hostile") && view !== "phone")) continue;
      await inspect(page, item, scheme, view);
    }
    await context.close();
  }
}

// Answers requests that would leave this machine, and keeps them in `leaving`.
async function isolate(context) {
  context.leaving = [];
  await context.route(
    (url) => url.origin !== origin && url.protocol.startsWith("http"),
    (route) => {
      context.leaving.push(route.request());
      return route.fulfill({ status: 200, contentType: "text/html", body: "<title>elsewhere</title>" });
    },
  );
}

// One page in one view: no complaint of the browser, no violation, no horizontal scroll, a sensible keyboard order.
async function inspect(page, { file, name, locale }, scheme, view) {
  const what = `${name} ${locale} ${scheme} ${view}`;
  const complaints = [];
  const listeners = {
    console: (message) => message.type() === "error" && complaints.push(message.text()),
    pageerror: (error) => complaints.push(String(error)),
    // The icon of the tab may still load when the next page is opened; what a policy blocks has another reason.
    requestfailed: (request) =>
      request.failure()?.errorText !== "net::ERR_ABORTED" && complaints.push(`${request.url()} failed`),
    response: (answer) => answer.status() >= 400 && complaints.push(`${answer.status()} ${answer.url()}`),
    dialog: (dialog) => complaints.push("a dialog") && dialog.dismiss(),
  };
  for (const [event, listener] of Object.entries(listeners)) page.on(event, listener);
  await page.goto(`${origin}/${file}`);
  check(page.context().leaving.length === 0, `nothing is loaded from elsewhere, ${what}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(overflow <= 0, `no horizontal scroll, ${what}`, `${overflow}px`);
  if (view === "phone" || view === "desktop") {
    if (view === "phone" || locale === "en") await axe(page, what);
    await page.evaluate(() => document.activeElement?.blur());
    await page.screenshot({ path: join(outDir, `${name}.${locale}.${scheme}.${view}.png`), fullPage: true });
  }
  if (view === "phone") await keyboard(page, what);
  check(complaints.length === 0, `no complaint of the browser, ${what}`, complaints.join(" | "));
  for (const [event, listener] of Object.entries(listeners)) page.off(event, listener);
}

async function axe(page, what) {
  // Evaluated by the debugger, so the page's own policy stays untouched.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${id} ${nodes.map(({ html }) => html.slice(0, 80)).join(", ")}`);
  check(violations.length === 0, `axe, ${what}`, found.join(" | "));
}

// Tab reaches every control once, in document order, each with a visible focus and large enough to hit.
async function keyboard(page, what) {
  const expected = await page.evaluate(() => {
    document.activeElement?.blur();
    window.getSelection()?.removeAllRanges();
    const all = [...document.querySelectorAll("a[href], button, input, summary")];
    const usable = all.filter((element) => element.type !== "hidden" && element.checkVisibility());
    usable.forEach((element, position) => element.setAttribute("data-position", position));
    document.body.tabIndex = -1;
    document.body.focus();
    return usable.length;
  });
  const found = [];
  for (let step = 0; step < expected; step += 1) {
    await page.keyboard.press("Tab");
    found.push(
      await page.evaluate(() => {
        const element = document.activeElement;
        const style = getComputedStyle(element);
        const { height } = element.getBoundingClientRect();
        const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
        const inText = element.closest("p") !== null;
        return { position: element.getAttribute("data-position"), visible, tall: inText || height >= 44, id: element.id };
      }),
    );
  }
  const order = found.map(({ position }) => Number(position));
  check(order.every((position, step) => position === step), `keyboard order, ${what}`, order.join(" "));
  const unseen = found.filter(({ visible }) => !visible).map(({ id }) => id);
  check(unseen.length === 0, `visible focus, ${what}`, unseen.join(" "));
  const flat = found.filter(({ tall }) => !tall).map(({ id }) => id);
  check(flat.length === 0, `targets of 44 px, ${what}`, flat.join(" "));
}

// Every page works with scripts off: the controls are there, and sign-in posts what was typed.
async function withoutScripts() {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: VIEWS.phone });
  await isolate(context);
  for (const { file, name, locale } of cases) {
    const page = await context.newPage();
    await page.goto(`${origin}/${file}`);
    check(await page.locator("h1").isVisible(), `a heading without scripts, ${name} ${locale}`);
    check((await page.locator("[data-reveals]:visible").count()) === 0, `no dead button, ${name} ${locale}`);
    if (name.startsWith("form-post")) {
      await page.screenshot({ path: join(outDir, `${name}.${locale}.light.phone.png`), fullPage: true });
      await page.click("#continue");
      const target = context.leaving.pop();
      check(target?.postData()?.includes("code=SplxlOBeZQQYbYS6WxSbIA"), `form_post by button, ${locale}`);
    }
    await page.close();
  }
  const page = await context.newPage();
  await page.goto(`${origin}/login.en.html`);
  await page.fill("#username", "ada@example.com");
  await page.fill("#password", "correct horse");
  const [request] = await Promise.all([page.waitForRequest("**/auth/login"), page.keyboard.press("Enter")]);
  const sent = Object.fromEntries(new URLSearchParams(request.postData()));
  check(request.method() === "POST" && sent.username === "ada@example.com", "Enter submits without scripts");
  check(Boolean(sent.password && sent.csrf && sent.flow), "the hidden pairs are sent");
  await context.close();
}

async function showPassword() {
  const page = await browser.newPage();
  await page.goto(`${origin}/login.en.html`);
  await page.fill("#password", "correct horse");
  await page.click("[data-reveals]");
  check((await page.getAttribute("#password", "type")) === "text", "the password can be shown");
  check((await page.getAttribute("[data-reveals]", "aria-pressed")) === "true", "the button says that it is pressed");
  await page.click("[data-reveals]");
  check((await page.getAttribute("#password", "type")) === "password", "the password can be hidden");
  await page.close();
}

// With scripts on, form_post submits itself under its policy, even with a parameter that is called `submit`.
async function formPost() {
  const context = await browser.newContext();
  await isolate(context);
  const page = await context.newPage();
  const arrived = page.waitForURL("https://grafana.example.org/callback", { timeout: 10_000 });
  await page.goto(`${origin}/form-post.en.html`).catch(() => {});
  await arrived.catch(() => {});
  const posted = context.leaving.find((request) => request.method() === "POST");
  const sent = new URLSearchParams(posted?.postData() ?? "");
  check(sent.get("code") === "SplxlOBeZQQYbYS6WxSbIA" && sent.get("submit") !== null, "form_post submits itself");
  check(sent.get("state") === '"><script>alert(1)</script>', "form_post carries hostile state unchanged");
  await context.close();
}
