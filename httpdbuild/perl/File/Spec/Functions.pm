# The methods of File::Spec as functions.
package File::Spec::Functions;
use strict;
use warnings;
use File::Spec ();
use Exporter 'import';

our @EXPORT = qw(canonpath curdir rootdir updir no_upwards file_name_is_absolute path catdir catfile);
our @EXPORT_OK   = qw(devnull tmpdir splitpath splitdir abs2rel rel2abs case_tolerant catpath);
our %EXPORT_TAGS = ( ALL => [ @EXPORT, @EXPORT_OK ] );

for my $name ( @EXPORT, @EXPORT_OK ) {
    no strict 'refs';
    *{$name} = sub { return File::Spec->$name(@_) };
}

1;
