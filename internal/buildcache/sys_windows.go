package buildcache

const nonBlock = 0
