"""Actions and targets as operators write them: read strictly, checked wholly, frozen; it must not decide who may use them."""
