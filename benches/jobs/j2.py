import common

common.tune({**common.REQUIRED, **common.NETWORK})
