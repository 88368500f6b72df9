// What every program here shares: its settings, and one printed line for each thing it checked.

/** The settings, as one JSON object in RELYING_PARTY. */
export const settings = JSON.parse(process.env.RELYING_PARTY ?? 'null')
if (settings === null) {
  console.error('RELYING_PARTY holds no settings')
  process.exit(2)
}

/** Runs one check; prints `ok NAME`, or `not ok NAME: why` and ends the program. */
export async function check(name, body) {
  try {
    const result = await body()
    console.log(`ok ${name}`)
    return result
  } catch (error) {
    console.log(`not ok ${name}: ${describe(error)}`)
    process.exit(1)
  }
}

/** Fails the check that it is called in. */
export function expect(condition, why) {
  if (!condition) throw new Error(why)
}

/** Fails unless the two are the same. */
export function same(actual, expected, what) {
  expect(actual === expected, `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
}

/** Fails unless the call is refused, and returns the refusal. */
export async function refused(call, what) {
  let answer
  try {
    answer = await call()
  } catch (error) {
    return error
  }
  throw new Error(`${what} was not refused: ${JSON.stringify(answer)}`)
}

function describe(error) {
  const parts = []
  for (let at = error; at && parts.length < 4; at = at.cause) {
    parts.push(at instanceof Error ? at.message : JSON.stringify(at))
    if (at.error) parts.push(`error=${at.error} ${at.error_description ?? ''}`)
  }
  return parts.join(' <- ')
}
