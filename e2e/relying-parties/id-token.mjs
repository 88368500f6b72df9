// Signs a person in with `openid-client` and writes the ID token, with the groups in it, to a file.
//
// Settings: issuer, clientId, clientSecret, redirectUri, user, password, tokenFile.
import { writeFileSync } from 'node:fs'
import * as client from 'openid-client'

import { Agent } from './agent.mjs'
import { check, expect, settings } from './checks.mjs'

const { issuer, clientId, clientSecret, redirectUri, user, password, tokenFile } = settings

await check('gets an ID token with the groups of the person', async () => {
  const config = await client.discovery(new URL(issuer), clientId, undefined, client.ClientSecretBasic(clientSecret))
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid profile groups',
    claims: JSON.stringify({ id_token: { groups: null } }),
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
  })
  const answer = await new Agent().authorize(url, { redirectUri, user, password })
  const tokens = await client.authorizationCodeGrant(config, answer, { pkceCodeVerifier, expectedState, idTokenExpected: true })
  expect(tokens.claims().groups?.length > 0, `no groups in ${JSON.stringify(tokens.claims())}`)
  writeFileSync(tokenFile, tokens.id_token, { mode: 0o600 })
})
