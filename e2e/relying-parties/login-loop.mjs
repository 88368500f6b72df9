// The certified relying party `openid-client`, signing a person in again and again until SIGTERM: each time a new
// browser, the form, the code, the ID token, userinfo. One line for each login, so that a lost one shows.
//
// Settings: issuer, clientId, clientSecret or clientSecretFile (read again for each login, as an application reads a
// mounted Secret), redirectUri, user, password, pause (milliseconds between logins).
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

import { Agent } from './agent.mjs'
import { settings } from './checks.mjs'

const { issuer, clientId, redirectUri, user, password, pause = 200 } = settings
let ends = false
process.on('SIGTERM', () => (ends = true))

async function login() {
  const secret = settings.clientSecretFile ? readFileSync(settings.clientSecretFile, 'utf8') : settings.clientSecret
  const authentication = secret ? client.ClientSecretBasic(secret) : client.None()
  const config = await client.discovery(new URL(issuer), clientId, undefined, authentication)
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
    idTokenExpected: true,
  }
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid profile',
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
  })
  const answer = await new Agent().authorize(url, { redirectUri, user, password })
  const tokens = await client.authorizationCodeGrant(config, answer, checks)
  await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
}

function describe(error) {
  const parts = []
  for (let at = error; at && parts.length < 4; at = at.cause) {
    parts.push([at.message, at.code, at.error, at.status].filter(Boolean).join(' '))
  }
  return parts.join(' <- ')
}

while (!ends) {
  const started = new Date()
  try {
    await login()
    console.log(`ok login at ${started.toISOString()} in ${Date.now() - started} ms`)
  } catch (error) {
    console.log(`not ok login at ${started.toISOString()}: ${describe(error)}`)
  }
  await new Promise((resolve) => setTimeout(resolve, pause))
}
