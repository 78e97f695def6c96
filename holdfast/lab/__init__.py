"""The lab: the code of production on virtual time and a disk that loses power, and judges of what it answered."""
