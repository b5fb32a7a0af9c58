// Where a graph's links lead, through reroutes, bypassed nodes and the walls of subgraphs.
// Reads graphs only; nothing here knows ComfyUI's page.

const INPUT_ID = "-10"; // the two ends of a subgraph, as ComfyUI numbers them
const OUTPUT_ID = "-20";
const BYPASSED = 4;
const MUTED = 2;

/** @typedef {{node: any, slot: number}} End one end of a link */

/**
 * The outer graph and those of all its subgraphs.
 * @param {any} root
 * @returns {any[]}
 */
export function graphsOf(root) {
  return root ? [root, ...(root.subgraphs?.values() ?? [])] : [];
}

/** All nodes of a graph. @param {any} graph @returns {any[]} */
export function nodesOf(graph) {
  return [...(graph?.nodes ?? [])];
}

/** All links of a graph. @param {any} graph @returns {any[]} */
function linksOf(graph) {
  return [...(graph?.links?.values() ?? [])];
}

/** The node that holds a subgraph, or undefined. @param {any} graph */
export function holderOf(graph) {
  const all = graphsOf(graph.rootGraph ?? graph);
  return all.flatMap(nodesOf).find((node) => node.subgraph === graph);
}

/**
 * A node by what the server calls it: "3", or "5:3" for node 3 in the subgraph that node 5 holds.
 * @param {any} root
 * @param {string | number} executionId
 */
export function nodeAt(root, executionId) {
  let graph = root;
  const [own, ...holders] = String(executionId).split(":").reverse();
  for (const id of holders.reverse()) graph = graph?.getNodeById(id)?.subgraph;
  return graph?.getNodeById(own) ?? null;
}

/** What the server calls a node; the first place if its subgraph is used twice. @param {any} node */
export function executionIdOf(node) {
  const path = [];
  for (let at = node; at; at = at.graph?.isRootGraph ? null : holderOf(at.graph)) path.unshift(at.id);
  return path.join(":");
}

/** @param {any} node */
function isReroute(node) {
  return node.type === "Reroute";
}

/** Slot of the input that a bypassed node hands on, or -1. @param {any} node @param {number} slot */
function handedOn(node, slot) {
  if (isReroute(node)) return 0;
  const type = node.outputs?.[slot]?.type;
  return node.inputs?.findIndex((/** @type {any} */ input) => input.type === type) ?? -1;
}

/**
 * The output that feeds an input, or null.
 * @param {any} node
 * @param {number} slot
 * @returns {End | null}
 */
export function originOf(node, slot) {
  const link = linksOf(node.graph).find(
    (each) => String(each.target_id) === String(node.id) && each.target_slot === slot);
  return link ? beginning(node.graph, link) : null;
}

/** @param {any} graph @param {any} link @returns {End | null} */
function beginning(graph, link) {
  if (String(link.origin_id) === INPUT_ID) {
    const holder = holderOf(graph);
    return holder ? originOf(holder, link.origin_slot) : null;
  }
  const node = graph.getNodeById(link.origin_id);
  if (!node || node.mode === MUTED) return null;
  if (isReroute(node) || node.mode === BYPASSED) {
    const slot = handedOn(node, link.origin_slot);
    return slot < 0 ? null : originOf(node, slot);
  }
  if (!node.subgraph) return { node, slot: link.origin_slot };
  const inner = linksOf(node.subgraph).find(
    (each) => String(each.target_id) === OUTPUT_ID && each.target_slot === link.origin_slot);
  return inner ? beginning(node.subgraph, inner) : null;
}

/**
 * The inputs that an output feeds.
 * @param {any} node
 * @param {number} slot
 * @returns {End[]}
 */
export function targetsOf(node, slot) {
  return linksOf(node.graph)
    .filter((each) => String(each.origin_id) === String(node.id) && each.origin_slot === slot)
    .flatMap((link) => endings(node.graph, link));
}

/** @param {any} graph @param {any} link @returns {End[]} */
function endings(graph, link) {
  if (String(link.target_id) === OUTPUT_ID) {
    const holder = holderOf(graph);
    return holder ? targetsOf(holder, link.target_slot) : [];
  }
  const node = graph.getNodeById(link.target_id);
  if (!node || node.mode === MUTED) return [];
  if (node.subgraph)
    return linksOf(node.subgraph)
      .filter((each) => String(each.origin_id) === INPUT_ID && each.origin_slot === link.target_slot)
      .flatMap((each) => endings(node.subgraph, each));
  if (!isReroute(node) && node.mode !== BYPASSED) return [{ node, slot: link.target_slot }];
  return [...(node.outputs?.keys() ?? [])]
    .filter((output) => handedOn(node, output) === link.target_slot)
    .flatMap((output) => targetsOf(node, output));
}

/**
 * The node before `node` on its input of this name, or null; null too for a node in no graph.
 * @param {any} node
 * @param {string} input
 */
export function sourceOf(node, input) {
  if (!node.graph) return null;
  const slot = node.inputs?.findIndex((/** @type {any} */ socket) => socket.name === input) ?? -1;
  return slot < 0 ? null : (originOf(node, slot)?.node ?? null);
}
