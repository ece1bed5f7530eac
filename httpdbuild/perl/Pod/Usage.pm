# pod2usage: ends the program. The build never asks for help.
package Pod::Usage;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(pod2usage);

sub pod2usage { die "usage: see the documentation of $0\n" }

1;
