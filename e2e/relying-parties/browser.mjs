// Headless Chromium through the pages: with JavaScript and without, by keyboard, on a phone, in both
// colour schemes and another language, with pictures of every page.
//
// Settings: issuer, clientId, redirectUri, postLogoutRedirectUri, user, password, chromium, screenshots (a folder),
// and optionally language ({tag, words}: a word of the sign-in page in it), realmName, and browserArguments (further
// arguments of Chromium: which names lead where, whose certificates count).
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import { chromium } from 'playwright-core'

import { check, expect, same, settings } from './checks.mjs'

const { issuer, clientId, redirectUri, user, password } = settings
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 900 }
const patience = 15_000

/** The application: answers every request, so that the browser arrives somewhere. */
const application = createServer((request, response) => {
  response.setHeader('content-type', 'text/html')
  response.end('<!doctype html><html lang="en"><title>Application</title><h1>Application</h1>')
})
await new Promise((resolve, reject) => {
  application.on('error', reject)
  application.listen(Number(new URL(redirectUri).port), new URL(redirectUri).hostname.replace(/[[\]]/g, ''), resolve)
})

const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()
const browser = await chromium.launch({
  executablePath: settings.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...(settings.browserArguments ?? [])],
})

/** An authorization request of this client. */
function authorizationUrl(more = {}) {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: 'openid profile email',
    state: randomBytes(8).toString('hex'),
    nonce: randomBytes(8).toString('hex'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...more,
  })
  return `${metadata.authorization_endpoint}?${query}`
}

/** A person's browser with nothing in it, and a page in it that reports what goes wrong. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: desktop, locale: 'en', ...options })
  context.setDefaultTimeout(patience)
  const page = await context.newPage()
  const trouble = []
  page.on('pageerror', (error) => trouble.push(`script: ${error.message}`))
  page.on('console', (message) => {
    // A refused sign-in is answered with a 4xx, which Chromium mentions in the console.
    const mentionsStatus = /Failed to load resource: the server responded with a status of 4/.test(message.text())
    if (message.type() === 'error' && !mentionsStatus) trouble.push(`console: ${message.text()}`)
  })
  const ours = new Set([new URL(issuer).origin, new URL(redirectUri).origin])
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url())
    if (protocol.startsWith('http') && !ours.has(origin)) trouble.push(`request to ${origin}`)
  })
  return { context, page, trouble }
}

/** Runs one check in a browser of its own. */
async function checkIn(name, options, body) {
  await check(name, async () => {
    const { context, page, trouble } = await open(options)
    try {
      await body(page, context)
      expect(trouble.length === 0, trouble.join('; '))
    } catch (error) {
      await page.screenshot({ path: join(settings.screenshots, 'failed.png'), fullPage: true }).catch(() => {})
      throw new Error(`${error.message} (at ${page.url()})`)
    } finally {
      await context.close()
    }
  })
}

const picture = (page, name) => page.screenshot({ path: join(settings.screenshots, `${name}.png`), fullPage: true })

/** No violation that axe-core knows, and nothing to scroll sideways. */
async function accessible(page, name) {
  // Evaluated by the debugger, so that the page's own policy need not allow it.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run())
  const found = violations.map(({ id, nodes }) => `${id} at ${nodes.map((node) => node.target.join(' ')).join(', ')}`)
  expect(found.length === 0, `${name}: ${found.join('; ')}`)
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - globalThis.innerWidth)
  expect(wide <= 0, `${name} is ${wide} px wider than the window`)
}

/** Signs in on the page that is shown. */
async function signIn(page, secret = password) {
  if (await page.locator('#username').isVisible()) await page.fill('#username', user)
  await page.fill('#password', secret)
  await page.click('#sign-in')
}

/** Where the application was called back, with the answer. */
async function callback(page) {
  await page.waitForURL((url) => url.href.startsWith(redirectUri))
  return new URL(page.url()).searchParams
}

/** From the sign-in page to the application, allowing what is asked. */
async function arrive(page) {
  await signIn(page)
  const deadline = Date.now() + patience
  while (!page.url().startsWith(redirectUri) && Date.now() < deadline) {
    if (await page.locator('#allow').isVisible()) {
      await page.click('#allow')
      break
    }
    await page.waitForTimeout(50)
  }
  return callback(page)
}

for (const [scheme, size, label] of [
  ['light', desktop, 'desktop'],
  ['dark', phone, 'phone'],
]) {
  await checkIn(`browser: every page in ${scheme} on a ${label} is accessible`, { colorScheme: scheme, viewport: size }, async (page) => {
    const name = (what) => `${what}-${scheme}-${label}`
    const response = await page.goto(authorizationUrl({ prompt: 'consent' }))
    same(response.status(), 200, 'status of the sign-in page')
    await page.waitForSelector('#sign-in')
    await accessible(page, 'sign-in')
    await picture(page, name('sign-in'))

    await signIn(page, 'not the password')
    await page.waitForSelector('#error-summary')
    await accessible(page, 'sign-in after a wrong password')
    await picture(page, name('sign-in-wrong'))
    same(await page.inputValue('#username'), user, 'the name that was typed')
    same(await page.inputValue('#password'), '', 'the password that was typed')

    await signIn(page)
    await page.waitForSelector('#consent-form')
    expect((await page.locator('#scopes [data-scope]').count()) > 0, 'consent lists no scope')
    await accessible(page, 'consent')
    await picture(page, name('consent'))
    await page.click('#allow')
    expect((await callback(page)).has('code'), 'no code')

    await page.goto(metadata.end_session_endpoint)
    await page.waitForSelector('#log-out')
    await accessible(page, 'sign-out')
    await picture(page, name('sign-out'))
    await page.click('#log-out')
    await page.waitForSelector('#logged-out')
    await accessible(page, 'signed out')
    await picture(page, name('signed-out'))
  })
}

await checkIn('browser: without JavaScript a person signs in and allows', { javaScriptEnabled: false }, async (page) => {
  await page.goto(authorizationUrl({ prompt: 'consent' }))
  await signIn(page, 'not the password')
  await page.waitForSelector('#error-summary')
  await signIn(page)
  await page.waitForSelector('#allow')
  await picture(page, 'consent-without-javascript')
  await page.click('#allow')
  expect((await callback(page)).has('code'), 'no code')
})

await checkIn('browser: without JavaScript a person denies', { javaScriptEnabled: false }, async (page) => {
  const url = authorizationUrl({ prompt: 'consent' })
  await page.goto(url)
  await signIn(page)
  await page.waitForSelector('#deny')
  await page.click('#deny')
  const answer = await callback(page)
  same(answer.get('error'), 'access_denied', 'error')
  same(answer.get('state'), new URL(url).searchParams.get('state'), 'state')
  expect(!answer.has('code'), 'a code in spite of the refusal')
})

await checkIn('browser: the keyboard alone is enough', {}, async (page) => {
  await page.goto(authorizationUrl({ prompt: 'consent' }))
  await page.waitForSelector('#username:focus')
  await page.keyboard.type(user)
  await page.keyboard.press('Tab')
  await page.waitForSelector('#password:focus')
  await page.keyboard.type(password)
  await page.keyboard.press('Enter')
  await page.waitForSelector('#allow')
  for (let step = 0; step < 15; step += 1) {
    await page.keyboard.press('Tab')
    if (await page.locator('#allow:focus').count()) break
  }
  await page.keyboard.press('Enter')
  expect((await callback(page)).has('code'), 'no code')
})

await checkIn('browser: one sign-in serves several requests, prompt=login asks again', {}, async (page, context) => {
  await page.goto(authorizationUrl())
  await arrive(page)
  await page.goto(authorizationUrl())
  expect((await callback(page)).has('code'), 'single sign-on gave no code')
  await page.goto(authorizationUrl({ prompt: 'login' }))
  await page.waitForSelector('#password')
  await arrive(page)
  for (const cookie of await context.cookies()) {
    expect(cookie.httpOnly && cookie.sameSite !== 'None', `the cookie ${cookie.name} is not protected`)
    if (new URL(issuer).protocol === 'https:') {
      expect(cookie.name.startsWith('__Host-') && cookie.secure, `the cookie ${cookie.name} is not bound to its host`)
    }
    same(cookie.path, '/', `path of the cookie ${cookie.name}`)
  }
})

await checkIn('browser: two tabs sign in side by side', {}, async (page, context) => {
  const second = await context.newPage()
  await page.goto(authorizationUrl())
  await second.goto(authorizationUrl())
  expect((await arrive(page)).has('code'), 'no code in the first tab')
  expect((await arrive(second)).has('code'), 'no code in the second tab')
})

await checkIn('browser: an unknown address gets a page, never a redirect', { viewport: phone }, async (page) => {
  const response = await page.goto(authorizationUrl({ redirect_uri: 'https://evil.example/' }))
  expect(response.status() >= 400 && response.status() < 500, `status ${response.status()}`)
  same(new URL(page.url()).origin, new URL(issuer).origin, 'origin')
  await page.waitForSelector('#error-summary')
  await accessible(page, 'error')
  await picture(page, 'error-light-phone')
})

await checkIn('browser: a small window needs no sideways scrolling', { viewport: { width: 320, height: 640 } }, async (page) => {
  await page.goto(authorizationUrl({ prompt: 'consent' }))
  await accessible(page, 'sign-in')
  await picture(page, 'sign-in-light-320')
  await signIn(page)
  await page.waitForSelector('#consent-form')
  await accessible(page, 'consent')
  await picture(page, 'consent-light-320')
})

if (settings.language) {
  await checkIn('browser: the page speaks the language that is asked for', {}, async (page) => {
    await page.goto(authorizationUrl({ ui_locales: settings.language.tag }))
    same(await page.getAttribute('html', 'lang'), settings.language.tag, 'lang')
    expect((await page.textContent('body')).includes(settings.language.words), `no "${settings.language.words}" on the page`)
    await accessible(page, 'sign-in')
    await picture(page, `sign-in-${settings.language.tag}`)
  })
}

await checkIn('browser: pages are not framed, not stored and run no foreign script', {}, async (page) => {
  const response = await page.goto(authorizationUrl())
  const headers = await response.allHeaders()
  const policy = headers['content-security-policy'] ?? ''
  expect(policy.includes("frame-ancestors 'none'"), `frame-ancestors is missing: ${policy}`)
  expect(!policy.includes('unsafe-inline') && !policy.includes('unsafe-eval'), `unsafe: ${policy}`)
  same(headers['x-content-type-options'], 'nosniff', 'x-content-type-options')
  expect(/no-store/.test(headers['cache-control'] ?? ''), `cache-control: ${headers['cache-control']}`)
  expect(headers['referrer-policy'], 'no referrer-policy')
  expect((await response.body()).length <= 12 * 1024, 'the page is larger than 12 KB')
})

await browser.close()
application.close()
