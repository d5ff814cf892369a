export function exploreView() {}
