package digest

const nonBlock, noFollow = 0, 0
