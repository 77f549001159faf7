// What a broken law speaks of, for those who mark it.

/** `Leader Completeness` of `LeaderCompleteness`; a name is left as it is. */
export const lawName = (law) => String(law ?? '').replace(/([a-z])([A-Z])/g, '$1 $2');

/** The servers and the entry that the sentence about the first broken law names. */
export function accusedOf(broken) {
  const why = broken?.[0]?.why;
  if (!why) return null;
  const servers = new Set();
  for (const [, list] of why.matchAll(/servers? ((?:\d+)(?:(?:, | and )\d+)*)/g)) {
    for (const [id] of list.matchAll(/\d+/g)) servers.add(`server ${id}`);
  }
  const index = why.match(/(?:entry|index) (\d+)/);
  return { servers: [...servers], index: index ? Number(index[1]) : null };
}
